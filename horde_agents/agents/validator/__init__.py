"""Takes jobs from facilitators, tries them at miners, signs receipts."""

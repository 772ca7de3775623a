"""Fakes and builders that ship with the product."""

"""What ``horde doctor`` looks at, one file per thing; every check ends in findings, never in an exception."""

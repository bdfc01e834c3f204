"""The `sievit` command: one file a verb, each a thin shell around the packages."""

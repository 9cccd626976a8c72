"""Engines that `wsiparse teach` makes: nuclei of another engine, classes that a user taught."""

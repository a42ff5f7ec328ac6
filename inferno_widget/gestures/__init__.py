"""What a person can do at the widget, by subject; a `workbench.Workbench` can do all of it."""

"""What jobs run in: the frame of every script, artifacts that are not whole, fits that did not end well."""

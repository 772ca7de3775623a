"""Programs that set a machine up; they run before any virtual environment exists."""

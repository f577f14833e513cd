"""Pictures of runs and models. Nothing else in the library imports matplotlib, and nothing its global `pyplot`."""

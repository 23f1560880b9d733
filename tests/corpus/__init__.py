"""Labelled trainings: what happened in them, and when. ``make detectors`` scores the detectors on them; see README.md."""

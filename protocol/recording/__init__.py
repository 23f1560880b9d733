"""The file: MCAP segments in a folder a session, written by the probe, read by everybody, salvaged when torn."""

"""Features: known ahead (`known`) and from the past (`history`)."""

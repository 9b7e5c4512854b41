"""What this machine is and feels: identity, conditions, sensors. Runs on the device."""

"""What makes draws: MuPD and the virtual stainer."""

"""What must be true in every case: at each moment the app can die, in random schedules, for any input."""

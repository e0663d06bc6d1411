"""What the privacy officer and the registration desk see and decide; a part of the staff API."""

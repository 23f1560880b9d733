"""The one door: live, over ssh, recorded or made up, the frames come out the same."""

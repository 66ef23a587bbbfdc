"""For whoever runs the app: is it working, what is wrong, and who let whom in?"""

"""For whoever runs the app: is it well, what is wrong, who let whom in?"""

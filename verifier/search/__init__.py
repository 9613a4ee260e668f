"""The general search: is a history linearizable by a model that anyone can write down in a few pure functions?"""

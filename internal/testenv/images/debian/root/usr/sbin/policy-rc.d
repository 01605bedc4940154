#!/bin/sh
# Packages may not start services: a container runs one, by its entrypoint.
exit 101

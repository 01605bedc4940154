// Package compose has the Dockerfile of docker-compose.yml and the program that
// generates its credentials. Its tests start the whole project and check it.
package compose

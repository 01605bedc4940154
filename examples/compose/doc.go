// Package compose holds what docker-compose.yml is made of beside the services
// themselves: the Dockerfile, and the program that makes their credentials. Its
// tests bring the whole of it up and hold it to what it promises.
package compose

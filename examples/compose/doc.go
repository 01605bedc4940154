// Package compose has the Dockerfile of docker-compose.yml, and two programs for it:
// credentials generates passwords, and setup prepares the servers. Its tests start
// the whole project and check it.
package compose

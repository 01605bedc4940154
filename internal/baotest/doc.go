// Package baotest is a server for tests that answers as the HTTP API of OpenBao and
// Vault is documented: logins by AppRole and Kubernetes, tokens, leases and their
// renewal, the key-value engine (version 2), and engines that make users. It is no
// such server: what is not documented, or not asked for by package openbao, is not
// here.
package baotest

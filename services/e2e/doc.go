// Package e2e proves the product as its users meet it: the real public command line
// and real MCP clients against a cloud that `agentcloud up` brings up, once in one
// process and once in six. The scripts are in testdata.
//
// It imports no room: it runs the binaries that `make build` leaves in .bin.
package e2e

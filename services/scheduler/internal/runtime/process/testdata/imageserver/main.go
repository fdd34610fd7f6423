// Command imageserver is all that an image of a test has: an MCP server on standard input
// and output that tells where it runs.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "at work")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		if json.Unmarshal(lines.Bytes(), &m) != nil || m.ID == nil {
			continue
		}
		result := map[string]any{"protocolVersion": "2025-06-18", "capabilities": map[string]any{}, "serverInfo": map[string]string{"name": "boxed", "version": "1"}}
		if m.Method != "initialize" {
			_, etc := os.Stat("/etc/passwd")
			write := os.WriteFile("/new", nil, 0o600)
			folder, _ := os.Getwd()
			result = map[string]any{
				"pid": os.Getpid(), "uid": os.Getuid(), "token": os.Getenv("TOKEN"), "folder": folder, "host": etc == nil, "writes": write == nil,
				"temporary": os.WriteFile("/tmp/x", nil, 0o600) == nil,
			}
		}
		raw, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": result})
		fmt.Println(string(raw))
	}
}

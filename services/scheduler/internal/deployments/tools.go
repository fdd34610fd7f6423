package deployments

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// toolHashes are the tools of a result of tools/list, by name: SHA-256 of each definition
// as canonical JSON, which has its keys in order and no blanks. Order of keys is no change.
func toolHashes(listed string) (map[string]string, error) {
	hashes := map[string]string{}
	if listed == "" {
		return hashes, nil
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(listed)))
	decoder.UseNumber()
	var result struct {
		Tools []map[string]any `json:"tools"`
	}
	if err := decoder.Decode(&result); err != nil {
		return nil, fmt.Errorf("read the recorded tools: %w", err)
	}
	for _, tool := range result.Tools {
		name, _ := tool["name"].(string)
		text, err := canonical(tool)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		hashes[name] = hex.EncodeToString(sum[:])
	}
	return hashes, nil
}

// canonical is JSON of which there is one text for each value.
func canonical(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("encode a tool: %w", err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// compareTools tells what differs from the tools before.
func compareTools(before, after string) (store.ToolChanges, error) {
	var c store.ToolChanges
	old, err := toolHashes(before)
	if err != nil {
		return c, err
	}
	now, err := toolHashes(after)
	if err != nil {
		return c, err
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		switch hash, had := old[name]; {
		case !had:
			c.Added = append(c.Added, name)
		case hash != now[name]:
			c.Changed = append(c.Changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, has := now[name]; !has {
			c.Removed = append(c.Removed, name)
		}
	}
	return c, nil
}

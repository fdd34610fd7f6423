package payloads

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
)

// toolResult is what a finished run of a tool shows, like a workflow result of the
// agents' own SDK.
type toolResult struct {
	Kind      string          `json:"kind"`
	Value     json.RawMessage `json:"value"`
	Metadata  struct{}        `json:"metadata"`
	StartTime *float64        `json:"start_time"`
	EndTime   *float64        `json:"end_time"`
}

// Wrap puts a tool's value into the envelope that runs show. A claim stays one: the
// value is not fetched for it.
func Wrap(value *commonpb.Payload) (*commonpb.Payload, error) {
	if !IsClaim(value) {
		return envelope(value)
	}
	var held claim
	if err := json.Unmarshal(value.GetData(), &held); err != nil {
		return nil, fmt.Errorf("read claim: %w", err)
	}
	held.Wrapped = true
	return held.payload()
}

func envelope(value *commonpb.Payload) (*commonpb.Payload, error) {
	content, err := JSONOf(value)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(toolResult{Kind: "workflow_result", Value: content})
	return &commonpb.Payload{Metadata: map[string][]byte{converter.MetadataEncoding: []byte(converter.MetadataEncodingJSON)}, Data: data}, err
}

// JSONOf is a payload's content as JSON, whatever its encoding.
func JSONOf(p *commonpb.Payload) (json.RawMessage, error) {
	encoding := string(p.GetMetadata()[converter.MetadataEncoding])
	switch {
	case p == nil, encoding == converter.MetadataEncodingNil:
		return json.RawMessage("null"), nil
	case strings.HasPrefix(encoding, "json/"):
		return p.GetData(), nil
	case encoding == converter.MetadataEncodingBinary:
		return json.Marshal(base64.StdEncoding.EncodeToString(p.GetData()))
	}
	return nil, fmt.Errorf("unknown encoding %q", encoding)
}

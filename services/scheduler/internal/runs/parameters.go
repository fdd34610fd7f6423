package runs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// parameters are what a workflow or tool takes, as its captured JSON schema says.
type parameters struct {
	title    string
	order    []string // names in the order of the signature
	types    map[string]string
	defaults map[string]json.RawMessage
	required []string
	// textual are the parameters that take a string, or a string among others.
	textual map[string]bool
	// whole says that they are the members of one object, its only parameter; open that
	// this object may have others.
	whole, open bool
	// schema checks values; nil when the agent's schema cannot be compiled, in which
	// case the agent checks them itself.
	schema *jsonschema.Schema
}

// wholeParameters reads the schema of a workflow that takes one object.
func wholeParameters(raw json.RawMessage) (*parameters, error) {
	p, err := parseParameters(raw)
	if err != nil {
		return nil, err
	}
	var head struct {
		AdditionalProperties json.RawMessage `json:"additionalProperties"`
	}
	if len(raw) > 0 {
		err = json.Unmarshal(raw, &head)
	}
	p.whole, p.open = true, string(head.AdditionalProperties) != "false"
	return p, err
}

// parseParameters reads a schema. An empty one takes nothing.
func parseParameters(raw json.RawMessage) (*parameters, error) {
	var head struct {
		Title      string          `json:"title"`
		Properties json.RawMessage `json:"properties"`
		Required   []string        `json:"required"`
	}
	if len(raw) == 0 {
		raw = json.RawMessage(`{}`)
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("read parameter schema: %w", err)
	}
	p := &parameters{title: head.Title, required: head.Required, types: map[string]string{}, defaults: map[string]json.RawMessage{}, textual: map[string]bool{}}
	members, err := orderedMembers(head.Properties)
	if err != nil {
		return nil, fmt.Errorf("read parameter schema: %w", err)
	}
	for _, m := range members {
		var property struct {
			Type    any             `json:"type"`
			Default json.RawMessage `json:"default"`
			AnyOf   []struct {
				Type any `json:"type"`
			} `json:"anyOf"`
		}
		if err := json.Unmarshal(m.value, &property); err != nil {
			return nil, fmt.Errorf("read schema of parameter %s: %w", m.name, err)
		}
		p.order = append(p.order, m.name)
		p.types[m.name], _ = property.Type.(string)
		p.textual[m.name] = property.Type == "string"
		for _, one := range property.AnyOf {
			p.textual[m.name] = p.textual[m.name] || one.Type == "string"
		}
		if property.Default != nil {
			p.defaults[m.name] = property.Default
		}
	}
	p.schema = compile(raw)
	return p, nil
}

// compile returns nil for a schema that the library cannot use.
func compile(raw json.RawMessage) *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	const name = "memory:parameters"
	if err := compiler.AddResource(name, doc); err != nil {
		return nil
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		return nil
	}
	return schema
}

// noLoader refuses references to files and addresses, which an agent could use to
// make the scheduler read them.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("references outside of the schema are not followed")
}

type member struct {
	name  string
	value json.RawMessage
}

// orderedMembers returns the members of a JSON object in their order.
func orderedMembers(raw json.RawMessage) ([]member, error) {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.Join(err, errors.New("this is no JSON object"))
	}
	var members []member
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: token.(string)} // a member's name is a string, or Token fails
		if err := decoder.Decode(&m.value); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

// Package openapi holds the OpenAPI description of the REST interface, generated
// from the contracts.
package openapi

import _ "embed" // for the document

// JSON is the document (OpenAPI 2.0).
//
//go:embed agentcloud.swagger.json
var JSON []byte

package wrangler

import (
	"regexp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// The uploader writes a part's header as browsers do (WHATWG HTML, "multipart form
// data"): a quote in a value is %22, and a backslash is just a backslash. The mail
// rules, which package mime reads, would make another name of it.
var (
	disposition = regexp.MustCompile(`^form-data(?:;\s*[A-Za-z]+="[^"]*")*$`)
	parameter   = regexp.MustCompile(`;\s*([A-Za-z]+)="([^"]*)"`)
)

// header is what the header of a part says; its texts are as they were sent.
type header struct {
	name, filename string
	isFile         bool
}

func parseDisposition(text string) (header, error) {
	var h header
	if !disposition.MatchString(text) {
		return h, fault.Invalid.Errorf("the upload has a part with a header that cannot be read: %.200q", text)
	}
	for _, found := range parameter.FindAllStringSubmatch(text, -1) {
		switch found[1] {
		case "name":
			h.name = found[2]
		case "filename":
			if h.isFile {
				return h, fault.Invalid.Errorf("the upload has a part with two file names: %.200q", text)
			}
			h.filename, h.isFile = found[2], true
		}
	}
	return h, nil
}

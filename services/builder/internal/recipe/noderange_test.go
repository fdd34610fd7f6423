package recipe

import "testing"

func TestInNodeRange(t *testing.T) {
	t.Parallel()
	tests := []struct {
		wanted string
		in     bool
		wrong  bool
	}{
		{wanted: "", in: true},
		{wanted: "*", in: true},
		{wanted: "20", in: true},
		{wanted: "20.x", in: true},
		{wanted: ">=18", in: true},
		{wanted: ">= 18 < 21", in: true},
		{wanted: ">=18 <20"},
		{wanted: "^20.3", in: true},
		{wanted: "^20.7"},
		{wanted: "~20.6", in: true},
		{wanted: "~20.5"},
		{wanted: "^18 || ^20 || >=22", in: true},
		{wanted: "18 - 20", in: true},
		{wanted: "18 - 19"},
		{wanted: "v20.6.1", in: true},
		{wanted: "lts", wrong: true},
	}
	for _, test := range tests {
		in, err := inNodeRange("v20.6.1", test.wanted)
		if in != test.in || (err != nil) != test.wrong {
			t.Errorf("inNodeRange(%q) = %t, %v; want %t, error: %t", test.wanted, in, err, test.in, test.wrong)
		}
	}
}

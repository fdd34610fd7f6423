package routes

import "testing"

func TestRepeatable(t *testing.T) {
	t.Parallel()
	all := repeatable(`{"tools":[{"name":"look","annotations":{"readOnlyHint":true}},{"name":"set","annotations":{"idempotentHint":true,"readOnlyHint":false}},
		{"name":"add","annotations":{"destructiveHint":false}},{"name":"plain"},{"name":"no","annotations":{"readOnlyHint":false,"idempotentHint":false}}]}`)
	for tool, want := range map[string]bool{"look": true, "set": true, "add": false, "plain": false, "no": false, "unknown": false} {
		if all[tool] != want {
			t.Errorf("%s is repeatable: %v, want %v", tool, all[tool], want)
		}
	}
	if n := len(repeatable(`no JSON`)); n != 0 {
		t.Errorf("of a list that cannot be read %d tools are repeatable", n)
	}
}

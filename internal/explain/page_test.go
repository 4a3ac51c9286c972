package explain_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"
)

// compareWithPage finds each field of the report in the page's table, and each
// field of that table in the report.
func compareWithPage(t *testing.T, report string) {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(report), &v); err != nil {
		t.Fatalf("%v in %s", err, report)
	}
	fields := map[string]bool{}
	collectFields("", v, fields)
	page, err := os.ReadFile("../../docs/explain.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\|").FindAllSubmatch(page, -1) {
		told[string(m[1])] = true
	}
	for f := range fields {
		if !told[f] {
			t.Errorf("docs/explain.md has no row for the field %s", f)
		}
	}
	for f := range told {
		if !fields[f] {
			t.Errorf("docs/explain.md has a row for %s, which is no field of %v", f, sortedKeys(fields))
		}
	}
}

// collectFields names the fields of objects by their path; elements of lists
// have the path of the list. Answers, verdicts and replies are described once.
func collectFields(path string, v any, into map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			collectFields(path, x, into)
		}
	case map[string]any:
		for name, x := range v {
			switch name {
			case "lookups", "asked":
				into[join(path, name)] = true
				collectFields("answer", x, into)
			case "reply":
				into["verdict.reply"] = true
				collectFields("reply", x, into)
			case "action", "reason":
				into["verdict."+name] = true
			default:
				into[join(path, name)] = true
				collectFields(join(path, name), x, into)
			}
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func sortedKeys(m map[string]bool) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

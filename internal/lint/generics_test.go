package lint

import (
	"strings"
	"testing"

	"gatepost/maps"
)

func TestGenerics(t *testing.T) {
	table, _, err := maps.Parse("generics", maps.FormatAccess,
		[]byte("joe\ta@b.example\njoe@lan.example\tx\njoe@sub.lan.example\tx\njoe@mx.example.com\tx\n@typo.example\tx\njoe\ty\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entire := range []bool{false, true} {
		in := inputOf(t, nil, "", "", "")
		in.Config.Features.GenericsEntireDomain = entire
		in.Policy.HostName = "mx.example.com"
		in.GenericsTable.Text = table
		in.GenericsDomains = []maps.Map{maps.NewClass("domains", []string{"lan.example"})}
		var got []string
		for _, f := range Check(in) {
			if strings.HasPrefix(f.Source.File, "generics") {
				got = append(got, f.Source.String())
			}
		}
		want := "generics:3 generics:5 generics:6"
		if entire {
			want = "generics:5 generics:6"
		}
		if strings.Join(got, " ") != want {
			t.Errorf("findings at %v, want %s", got, want)
		}
	}
}

package main

import (
	"fmt"
	"slices"
)

// features picks FEATUREs in the order of configuration; those that need the
// access map come after it.
func (g *generator) features() []Feature {
	list := []Feature{}
	access := g.chance(90)
	if access {
		list = append(list, g.accessFeature())
	}
	add := func(percent int, name string, arguments ...string) {
		if g.chance(percent) {
			list = append(list, Feature{name, append([]string{}, arguments...)})
		}
	}
	odd := 12 // how often what few sites have
	if g.plain {
		odd = 3
	}
	if access {
		add(60, g.pick([]string{"blocklist_recipients", "blocklist_recipients", "blacklist_recipients"}))
		add(odd, "lookupdotdomain")
		add(odd, "relay_mail_from", g.some([]string{"domain"}, 1)...)
	}
	g.delay(&list, access)
	add(odd, "relay_local_from")
	add(2*odd, "relay_hosts_only")
	add(2*odd, "relay_entire_domain")
	add(odd, "relay_based_on_MX")
	add(odd, "loose_relay_check")
	add(2, "promiscuous_relay")
	add(odd, "accept_unqualified_senders")
	add(2*odd, "accept_unresolvable_domains")
	add(odd, "require_rdns")
	add(odd, "block_bad_helo")
	add(odd, "badmx")
	add(odd, "use_client_ptr")
	add(odd, "nocanonify")
	add(odd, "nouucp", g.pick([]string{"reject", "nospecial"}))
	add(odd, "nopercenthack", g.pick([]string{"reject", "nospecial"}))
	for range g.IntN(3) * g.IntN(3) {
		list = append(list, g.blocklist())
	}
	if access && g.chance(10) {
		list = append(list, g.controls(list)...)
	}
	if g.chance(20) && len(list) > 1 { // another order of what follows access_db
		rest := list[1:]
		if !access {
			rest = list
		}
		g.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		delayFirst(rest)
	}
	return list
}

func (g *generator) accessFeature() Feature {
	return Feature{"access_db", g.some([]string{"skip", "lookupdotdomain", "relaytofulladdress"}, g.IntN(3))}
}

// delay adds delay_checks, which controls with "nodelay" must come after.
func (g *generator) delay(list *[]Feature, access bool) {
	if !g.chance(35) {
		return
	}
	arguments := []string{}
	if access {
		arguments = g.some([]string{"friend", "hater"}, 1)
		if len(arguments) == 1 && g.chance(10) {
			arguments = append(arguments, "n")
		}
	}
	*list = append(*list, Feature{"delay_checks", arguments})
}

// delayFirst puts delay_checks where m4 wants it, before the controls.
func delayFirst(list []Feature) {
	slices.SortStableFunc(list, func(a, b Feature) int {
		if a.Name == "delay_checks" && b.Name != a.Name {
			return -1
		}
		if b.Name == "delay_checks" && b.Name != a.Name {
			return 1
		}
		return 0
	})
}

// controls adds those that count and wait; "nodelay" needs delay_checks before it.
func (g *generator) controls(before []Feature) []Feature {
	delayed := (&Policy{Features: before}).has("delay_checks")
	var list []Feature
	for _, name := range []string{"ratecontrol", "conncontrol"} {
		arguments := []string{}
		if delayed && g.chance(40) {
			arguments = append(arguments, "nodelay")
		}
		if g.chance(30) {
			if len(arguments) == 0 {
				arguments = append(arguments, "")
			}
			arguments = append(arguments, "terminate")
		}
		if g.chance(70) {
			list = append(list, Feature{name, arguments})
		}
	}
	if g.chance(50) {
		list = append(list, Feature{"greet_pause", g.some([]string{"1500", "5000"}, 1)})
	}
	if g.chance(50) {
		list = append(list, Feature{"compat_check", []string{}})
	}
	return list
}

// blocklist makes a dnsbl or enhdnsbl with any of the argument forms.
func (g *generator) blocklist() Feature {
	zone := g.pick([]string{"bl.example.net", "zen.blocked.org", "DNSBL.test", "a.b.c.list-1.example"})
	arguments := []string{zone}
	if g.chance(65) {
		arguments = append(arguments, g.pick([]string{
			"", "", "discard", "quarantine", `"550 own text"`, `"554 5.7.9 own " $&{client_addr} " text"`, `"450 try; later"`,
			`"550 5.7.1 Rejected - see https://` + zone + `/q/" $&{client_addr}`, `"553 " $&{client_name} " is (listed)"`, `"no code"`,
			`550 unquoted: text`, `"421 4.7.0 go away " $&{client_resolve}`, `"550 5.7.1 HELO " $&s " of " $&{client_ptr}`,
		}))
		if g.chance(60) {
			arguments = append(arguments, g.pick([]string{"", "t", "t", `"451 own tmp"`, `"451 4.7.1 later " $&{client_addr}`, `"no code"`}))
		}
	}
	if g.chance(50) {
		return Feature{"dnsbl", arguments}
	}
	if len(arguments) == 3 {
		for range g.IntN(4) {
			arguments = append(arguments, fmt.Sprintf("127.0.0.%d.", 2+g.IntN(4)))
		}
		if len(arguments) > 3 && g.chance(15) {
			arguments[3] = g.pick([]string{"127.0.0.$-.", "127.$+", "$-.0.0.3."})
		}
	}
	return Feature{"enhdnsbl", arguments}
}

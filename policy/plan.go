package policy

// newPlan is which checks are made at which stage. It holds no rules of its own.
func newPlan(p *Policy) (plan [stages][]check, err error) {
	if err := p.features.check(); err != nil {
		return plan, err
	}
	relay, mail, rcpt := checkRelay(p), checkMail(p), checkRcpt(p)
	lists, listed := checkLists(p)
	if p.features.DelayChecks == DelayNone {
		plan[StageConnect] = []check{relay}
		plan[StageMail] = []check{mail}
		plan[StageRcpt] = []check{rcpt}
		if listed {
			plan[StageMail] = append(plan[StageMail], lists)
		}
		return plan, nil
	}
	plan[StageConnect] = immediateControl(&p.features)
	plan[StageMail] = []check{checkSyntax()}
	plan[StageRcpt] = []check{rcpt}
	if spam, used := checkSpam(&p.features); used {
		plan[StageRcpt] = append(plan[StageRcpt], spam)
	}
	plan[StageRcpt] = append(plan[StageRcpt], mail, relay)
	if listed {
		plan[StageRcpt] = append(plan[StageRcpt], lists)
	}
	if p.features.BlockBadHelo {
		plan[StageRcpt] = append(plan[StageRcpt], check{name: "check_helo", parts: [][]rule{{badHeloRule}}})
	}
	return plan, nil
}

package policy

// newPlan is which checks are made at which stage. It holds no rules of its own.
func newPlan(f *Features) map[Stage][]check {
	return map[Stage][]check{
		StageConnect: {checkRelay(f)},
		StageMail:    {checkMail(f)},
		StageRcpt:    {checkRcpt(f)},
	}
}

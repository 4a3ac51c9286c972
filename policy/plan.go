package policy

// newPlan is which checks are made at which stage. It holds no rules of its own.
func newPlan(f *Features) [stages][]check {
	return [stages][]check{
		StageConnect: {checkRelay(f)},
		StageMail:    {checkMail(f)},
		StageRcpt:    {checkRcpt(f)},
	}
}

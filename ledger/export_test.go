package ledger

// SetAllowanceForTest sets what is left of the allowance.
func SetAllowanceForTest(l *Ledger, n uint32) { l.state.root.allowance = n }

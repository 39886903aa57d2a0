package api

// Method names a method and shows, by zero values, what it takes and returns.
type Method struct {
	Name   string
	Params any
	Result any
}

// Methods lists every method of this release. The policy table in package
// enclave says who may call them; a test holds the two against each other.
var Methods = []Method{
	{"enclave.info", None{}, Info{}},
	{"enclave.selfTest", None{}, SelfTest{}},
	{"enclave.cancel", CancelParams{}, CancelResult{}},
	{"vault.status", None{}, Status{}},
	{"vault.create", CreateVaultParams{}, Status{}},
	{"vault.unlock", None{}, Status{}},
	{"vault.lock", None{}, Status{}},
	{"vault.destroy", None{}, None{}},
	{"slots.add", AddSlotParams{}, SlotList{}},
	{"slots.remove", SlotParams{}, SlotList{}},
	{"slots.change", SlotParams{}, SlotList{}},
	{"slots.manage", None{}, Status{}},
	{"recovery.enable", None{}, Recovery{}},
	{"recovery.check", None{}, Recovery{}},
	{"backup.save", None{}, Saved{}},
	{"backup.restore", RestoreParams{}, Status{}},
	{"mirror.changes", None{}, MirrorChanges{}},
	{"mirror.records", MirrorRecordsParams{}, MirrorRecords{}},
	{"mirror.offer", MirrorOfferParams{}, None{}},
	{"mirror.restore", MirrorRestoreParams{}, Status{}},
	{"keys.create", CreateKeyParams{}, KeyResult{}},
	{"keys.list", ListKeysParams{}, KeyList{}},
	{"keys.get", KeyParams{}, KeyResult{}},
	{"keys.rotate", KeyParams{}, Rotated{}},
	{"keys.revoke", RevokeParams{}, KeyResult{}},
	{"jwt.sign", SignJWTParams{}, Token{}},
	{"challenge.sign", SignChallengeParams{}, Signature{}},
	{"challenge.verify", VerifyChallengeParams{}, Verdict{}},
	{"key.agree", AgreeParams{}, Agreed{}},
	{"token.vapid", VAPIDParams{}, PushTokens{}},
	{"token.relay", RelayTokenParams{}, Token{}},
	{"lease.grant", GrantLeaseParams{}, LeaseResult{}},
	{"lease.list", None{}, LeaseList{}},
	{"lease.renew", RenewLeaseParams{}, LeaseResult{}},
	{"lease.revoke", LeaseParams{}, LeaseResult{}},
	{"audit.head", None{}, Head{}},
	{"audit.consistent", ConsistentParams{}, Consistency{}},
	{"audit.entries", EntriesParams{}, Entries{}},
	{"audit.verify", None{}, AuditVerdict{}},
	{"audit.show", None{}, None{}},
	{"audit.export", ExportParams{}, ExportPage{}},
}

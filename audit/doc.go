// Package audit is the format of the audit log: entries, the tree over them, the
// signed head, and the file that carries a log out of the enclave. It stores
// nothing and holds no key; package ledger writes logs with it, and
// "enclave audit verify" checks them.
//
// # Entries
//
// An entry is a JSON object (RFC 8259) in one canonical encoding: UTF-8 without
// white space; the members in the order of [Entry], of which kid, lease and
// details are left out when empty; integers in plain decimal; strings with
// the escapes of RFC 8785 section 3.2.2.2 and no others; details ordered by
// name, bytewise. It has at most 8192 bytes. Any other encoding of the same
// values is refused, so an entry has one hash.
//
//	seq      position in the log, from 0 on without a gap, below 2⁵³-1
//	time     seconds since 1970, never less than in the entry before
//	method   of the request
//	kid      thumbprint of the key that was used (RFC 7638)
//	lease    id of the standing permission that allowed it
//	origin   of the app that asked
//	outcome  "ok", or an error code of the protocol
//	details  what else belongs to the method: names and strings
//
// The time is what the device's clock said, or that of the entry before if the
// clock ran backwards. It proves nothing to others.
//
// # Tree
//
// The log is the Merkle tree of RFC 6962 section 2.1 over the canonical entries:
// leaf hashes are SHA-256(0x00 ‖ entry), nodes SHA-256(0x01 ‖ left ‖ right). To
// append and to compute the head, a [Frontier] suffices. Its binary form is
//
//	size:u64 ‖ one hash per bit set in size, the largest subtree first
//
// Integers are big-endian.
//
// # Batches
//
// In storage consecutive entries share a record, whose id is the sequence number
// of the first one in 16 lower-case hex digits:
//
//	version:u8=1 ‖ count:u16 ‖ count × (length:u16 ‖ entry)
//
// # Checkpoints
//
// A head is a C2SP tlog-checkpoint without extension lines, in a C2SP
// signed-note. Its origin is "kms-enclave/audit/" and the RFC 7638 thumbprint,
// in base64url, of the Ed25519 key (RFC 8037) that signs it. That key is made
// with the vault and never leaves it, so the origin names the log. Further
// signatures, of witnesses, may follow the log's own.
//
// # Files
//
// An export file is text, every line ended by one line feed:
//
//	line 1   kms-enclave/audit-file/v1
//	line 2   the verifier key of the log (C2SP signed-note, Ed25519)
//	then     the signed checkpoint: three lines, a blank one, the signatures
//	then     a blank line
//	then     per entry: its leaf hash in base64 (RFC 4648 section 4), a space, the entry
//
// The signed size comes first, so a file that was cut short shows it.
//
// This is the file of a log with three entries, whose key is the Ed25519 key of
// 32 zero bytes:
//
//	kms-enclave/audit-file/v1
//	kms-enclave/audit/9ZP03Nu8GrXPAUkbKNxHOKBzxPX83SShgFkRNK-f2lw+14c96108+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop
//	kms-enclave/audit/9ZP03Nu8GrXPAUkbKNxHOKBzxPX83SShgFkRNK-f2lw
//	3
//	NM0izn3XlpIe8u9lwbRyKlrW8J4DKDwBykdWr9+XZWc=
//
//	— kms-enclave/audit/9ZP03Nu8GrXPAUkbKNxHOKBzxPX83SShgFkRNK-f2lw FMlhCJOuhqCrZxCeU/ynsXok8JkhaxQzGut6zkcjtiY4znxVQxE+ctWF39lPCa3kZQ+CBxK0FHHtLaKr4dJ4UdxcyQc=
//
//	MgAXhjWunrDDoEaBikwpLPwXP3y9jPSOl2eFkO56W2w= {"seq":0,"time":1795500000,"method":"vault.create","origin":"https://app.example","outcome":"ok"}
//	1UvoCgXKdQguh9Qpb7uD2S6d/dJ+6KUHEin2xPw4Rp4= {"seq":1,"time":1795500003,"method":"keys.create","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","origin":"https://app.example","outcome":"ok","details":{"alg":"EdDSA","purpose":"signing"}}
//	tUvn8z1Pi6h9YZnax2Ccj6VlhoXdt2bJTtiRRNstMGc= {"seq":2,"time":1795500003,"method":"jwt.sign","origin":"https://app.example","outcome":"quota_exceeded","details":{"count":"2"}}
//
// Its frontier, in hex, and the beginning of its only batch, record
// 0000000000000000:
//
//	0000000000000003c0983b97741496a356145f030bcf2a366bb117b2a7523a3482cf108946d262edb54be7f33d4f8ba87d6199dac7609c8fa5658685ddb766c94ed89144db2d3067
//	01000300617b22736571223a302c2274696d65223a313739353530303030…
//
// # What verification finds
//
// [VerifyFile] and [Verify] check every entry's encoding, every sequence number,
// that time does not run backwards, the size, and the head; VerifyFile also the
// leaf hash beside each entry, and the signature. They name the first entry that
// is not as it should be:
//
//   - one that was edited, because it no longer has the hash beside it;
//   - one that was deleted, inserted, duplicated, moved or cut off, because
//     the sequence numbers no longer fit.
//
// If somebody replaces an entry together with the hash beside it, every line
// fits and only the head does not: the log is refused ([ErrRoot]), and no reader
// of the file alone can say which entry it was. The hashes in storage are not
// kept apart from the entries, so [Verify] says the same of an edited one; there
// a batch is sealed, and one that was changed does not open, which names the batch.
//
// What no check of a file can find: that it is an older state of the log, or of
// another log altogether with a key of its own. Both show against a checkpoint or
// a verifier key that somebody kept; [VerifyFileOf] compares the latter.
package audit

// Package backup is the container of a backup file: its fields, their bytes, and
// the MAC that holds them together. It derives no key and opens nothing; what is
// sealed inside is the vault's own.
//
// # The file
//
// Integers are big-endian. There is exactly one encoding of the same values, and
// nothing follows the last field.
//
//	magic      19 bytes   "kms-enclave-backup" and a line feed
//	version    u8         1
//	createdAt  i64        seconds since 1970, from 0 to the end of the year 9999
//	epoch      u64        of the vault when the file was made; a higher one is later
//	keys       u32        how many application keys are inside
//	vault      16 bytes   which vault: the same in all its files, on every device
//	phrase     16 bytes   which recovery phrase opens the file
//	enc        u16 ‖ …    encapsulated secret of HPKE (RFC 9180) with MLKEM768X25519, 1120 bytes
//	wrapped    u16 ‖ …    the vault key, wrapped: nonce ‖ ciphertext ‖ tag, 28 to 1024 bytes
//	body       u32 ‖ …    what is backed up, sealed: nonce ‖ ciphertext ‖ tag, 28 bytes or more
//	mac        32 bytes   HMAC-SHA-256 (RFC 2104) of everything before it
//
// All of it has at most 32 MiB. The additional data of the body are all
// fields from magic to wrapped, so that it does not open under another header.
// Magic and version will stay where they are in every later version.
//
// This is a file whose MAC key is 32 zero bytes, and each of whose longer fields
// repeats one byte. Dots stand for more of it:
//
//	6b6d732d656e636c6176652d6261636b75700a                            magic
//	01                                                                version
//	000000006b050be0                                                  createdAt
//	0000000000000007                                                  epoch
//	00000002                                                          keys
//	a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1                                  vault
//	b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2                                  phrase
//	0460c3c3c3c3c3c3c3c3c3c3…                                         enc
//	003cd4d4d4d4d4d4d4d4d4d4…                                         wrapped
//	0000001ce5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5  body
//	e3927b94b6af11911fbabb153b1694edf90b99f8d688d1fce21fb31f86bef58f  mac
//
// # What the header is worth
//
// Everything but the body can be read without the phrase, so that a person sees
// what they are about to open: its date, its epoch, how many keys. Until
// [File.Authenticate] has returned nil these are claims of whoever
// wrote the file. A recovery public key is no secret, and HPKE's base mode
// authenticates no sender: without the MAC, whoever knows the public key could
// make a file that opens. The MAC's key comes from the phrase, and the vault keeps it under
// its vault key, so that it can make files without the phrase.
//
// What no check here can find: that a file is an older one of the same vault.
// It is as authentic as on its first day; for that there are the epoch and the date.
//
// Whoever has the file learns the header, and from the length of the body
// about how much is inside.
//
// # What Parse and Authenticate find
//
// [Parse] tells apart a file that is empty, that is something else, that a later version
// of this program wrote, that is too large, that was cut off, and that has something
// behind its end. It returns ErrEdited for values that are never written. Any
// other change, [File.Authenticate] finds, and cannot say where it is. A change
// of a length may look like a cut.
package backup

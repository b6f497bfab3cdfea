// SPDX-License-Identifier: Apache-2.0

// Package names makes up names for containers that were given none:
// adjective_scientist.
package names

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"
)

// Random is a name such as bold_curie. The first tries are two words; later
// ones carry a number, so that somebody with thousands of containers gets a
// free one soon.
func Random(try int) string {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails on Linux
	a, s := binary.NativeEndian.Uint32(raw[:4]), binary.NativeEndian.Uint32(raw[4:])
	n := adjectives[a%uint32(len(adjectives))] + "_" + scientists[s%uint32(len(scientists))]
	if try >= 3 {
		n += strconv.Itoa(int(a>>8) % 1000 * try)
	}
	return n
}

var adjectives = [...]string{
	"able", "agile", "airy", "amber", "ample", "apt", "awake", "blithe", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid",
	"careful", "cheery", "civil", "clear", "clever", "cosmic", "cosy", "crisp", "curious", "daring", "deft", "eager", "earnest", "easy",
	"elegant", "fair", "famous", "fine", "firm", "fleet", "fluent", "fond", "frank", "free", "fresh", "gentle", "genuine", "glad", "golden",
	"grand", "handy", "happy", "hardy", "hearty", "honest", "humble", "ideal", "jolly", "jovial", "keen", "kind", "lively", "lucid", "lucky",
	"mellow", "merry", "mighty", "modest", "neat", "nimble", "noble", "open", "patient", "plucky", "polite", "proud", "prompt", "quick",
	"quiet", "rapid", "ready", "robust", "sage", "serene", "sharp", "shiny", "sleek", "smart", "snug", "solid", "spry", "stable", "steady",
	"stoic", "sunny", "swift", "tidy", "tranquil", "trusty", "upbeat", "vivid", "warm", "wise", "witty", "zesty",
}

var scientists = [...]string{
	"abel", "agnesi", "allen", "ampere", "archimedes", "avogadro", "babbage", "bardeen", "bartik", "bell", "bernoulli", "bohr", "boole",
	"borg", "bose", "boyle", "brahe", "brattain", "cannon", "carson", "cerf", "chandrasekhar", "chatelet", "cori", "curie", "darwin",
	"davinci", "dijkstra", "dirac", "easley", "edison", "einstein", "elion", "ellis", "euclid", "euler", "faraday", "fermat", "fermi",
	"feynman", "franklin", "galileo", "galois", "gauss", "germain", "goldberg", "goodall", "hamilton", "hawking", "heisenberg", "hertz",
	"hodgkin", "hoover", "hopper", "hypatia", "jackson", "johnson", "joliot", "kalam", "kapitsa", "kepler", "khayyam", "kilby", "knuth",
	"kovalevskaya", "lalande", "lamarr", "lamport", "leakey", "leavitt", "lovelace", "maxwell", "mayer", "mccarthy", "mcclintock",
	"meitner", "mendel", "mendeleev", "minsky", "mirzakhani", "morse", "napier", "nash", "newton", "nightingale", "nobel", "noether",
	"pascal", "pasteur", "payne", "perlman", "pike", "planck", "poincare", "ptolemy", "raman", "ramanujan", "rhodes", "ride", "ritchie",
	"rosalind", "rubin", "sagan", "shannon", "shockley", "snyder", "spence", "tesla", "thompson", "torvalds", "turing", "varahamihira",
	"volhard", "wescoff", "wiles", "williams", "wilson", "wing", "wozniak", "wright", "wu", "yalow", "yonath",
}

// SPDX-License-Identifier: Apache-2.0

package names

// Nearest is the candidate of which name is most likely a misspelling, or "". A misspelling
// has one letter that is wrong, missing, extra or swapped with the next; from five letters
// on, two.
func Nearest(name string, candidates []string) string {
	best, least := "", 3
	for _, c := range candidates {
		limit := 2
		if max(len(name), len(c)) < 5 {
			limit = 1
		}
		if len(c)-len(name) > limit || len(name)-len(c) > limit || max(len(name), len(c)) < 2 {
			continue
		}
		if d := distance(name, c); d > 0 && d <= limit && d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace, or swap with
// the next.
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j-1]+cost, d[i-1][j]+1, d[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

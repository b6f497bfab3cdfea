// SPDX-License-Identifier: Apache-2.0

// Package e2e runs the scripts in testdata with the real binaries.
//
// The test binary starts as root (hack/test sees to that) and sets the stage:
// users, images, a registry on loopback, a network namespace that plays another
// machine. It then starts itself again as the user that a set of scripts is
// about; that second process, the child, runs the scripts, so that everything in
// them (proa, curl, sh) is unprivileged. What only root can do for a script
// (look into foreign processes, act from the other machine) it asks the first
// process over a socket.
//
// HACKING.md says how to write a script.
package e2e

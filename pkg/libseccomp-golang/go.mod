// A replacement, written for Proa, of the binding that libcontainer imports.
module github.com/seccomp/libseccomp-golang

go 1.26.0

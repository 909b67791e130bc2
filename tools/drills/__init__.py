"""Drills: kills, full disks, damaged files, strangers' pictures. They attack the product as a bad day may, or worse.

`make drill` runs all of them; the suite runs a short form. A drill is a function of (scratch folder, seed, size) that
returns a `Row`, and stops at the first violation with what reproduces it. Linux only: they fork, mount, set limits."""

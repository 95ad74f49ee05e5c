/** Shell shared by the guards, which outlive this process and so cannot be written in it. */

/** Defines `alive pid`: false for a process that has ended but that nobody has collected yet (state Z), as happens in
 * containers whose first process does not care for orphans. */
export const ALIVE = `
alive() {
  kill -0 "$1" 2>/dev/null || return 1
  [ -r "/proc/$1/stat" ] || return 0
  read -r _ _ state _ <"/proc/$1/stat" 2>/dev/null || return 1
  [ "$state" != Z ]
}
`;

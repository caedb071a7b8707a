# Runs where DEST is, with DEST in $DIR, for as long as one copy takes, and holds the lock all the while: whoever started it
# being killed, it ends after what it is at. Takes commands on stdin; after the answer to each it says "end" and a status. $OWNER, where it is
# not empty, is the uid:gid that everything made here is given to.
#
# Needs a shell, coreutils, findutils and awk, as any Linux has them, and no mentat-sync.
umask 077
export LC_ALL=C
work=tmp/backup root=00000000-0000-0000-0000-000000000000

# Gives away what root has made in these places.
own() {
    [ -z "$OWNER" ] || find "$@" \( ! -uid "${OWNER%:*}" -o ! -gid "${OWNER#*:}" \) -exec chown -h "$OWNER" {} +
}

# Makes DEST ready, and says its whole path, and which users it has.
prepare() {
    [ ! -e serving ] || { echo "why a server serves it, or was killed there (then remove the file serving in it)"; return 1; }
    if [ -e FORMAT ]; then
        [ "$(cat FORMAT)" = "mentat-sync 1" ] || { echo "why it has another FORMAT"; return 1; }
    # A fresh disk has a lost+found, and a copy that was killed at once an empty tmp.
    elif ! [ -d $work ] && [ -n "$(ls -A | grep -vx -e lost+found -e tmp; ls -A tmp 2>/dev/null)" ]; then
        echo "why it is not empty, and no copy of a store"
        return 1
    fi
    made=
    for part in tmp $work $work/new users; do
        [ -d $part ] || { mkdir $part || return 1; made="$made $part"; }
    done
    # A swap that was cut short between its two renames is taken back.
    for old in $work/old/*; do
        user=${old##*/}
        [ ! -d "$old" ] || [ -e "users/$user" ] || mv -T "$old" "users/$user" || return 1
    done
    rm -rf $work/old $work/swap || return 1
    # What an interrupted copy left may be without its bytes if the machine went down since: chunks are hashed, and
    # the rest is copied again.
    boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
    if [ -z "$boot" ] || ! [ -e $work/started ] || [ "$boot" != "$(cat $work/started)" ]; then
        find $work/new -type f -path '*/chunks/??/*' -exec sha256sum {} + |
            awk '{ name = $2; sub(".*/", "", name); if (name != $1) print $2 }' | while read -r bad; do rm -f "$bad"; done
        find $work/new -type f ! -path '*/chunks/??/*' -exec rm -f {} +
    fi
    # An rsync that was killed leaves a file that it was at under such a name; no file of a store has one.
    find $work/new -type f -name '.*' -exec rm -f {} + || return 1
    printf '%s\n' "$boot" >$work/started || return 1
    [ -z "$made" ] || own $made || return 1
    echo "at $(pwd -P)"
    for head in users/*/HEAD; do
        head=${head%/HEAD}
        [ "$head" = 'users/*' ] || echo "has ${head#users/}"
    done
}

# Sorts what was laid aside by what became of its users meanwhile: lines "gone USER", "renamed USER USER" and "user USER HEAD", up to one
# that is a dot.
sort_out() {
    # A directory is made for each that DATA has, also where nothing is new in it.
    find $work/new -mindepth 1 -type d -empty -delete || return 1
    : >$work/list && : >$work/states || return 1
    while read -r what user other && [ "$what" != . ]; do
        case $what in
        gone) rm -rf "$work/new/$user" || return 1 ;;
        renamed)
            [ ! -d "$work/new/$user" ] || [ -e "$work/new/$other" ] || mv -T "$work/new/$user" "$work/new/$other" || return 1
            rm -rf "$work/new/$user" || return 1
            ;;
        state) printf '%s %s\n' "$user" "$other" >>$work/states || return 1 ;;
        user) printf '%s %s\n' "$user" "$other" >>$work/list || return 1 ;;
        esac
    done
}

digest_of() { sha256sum <"$1" | cut -d ' ' -f 1; }
seq_of() { sed -n 's/^{"id":"[^"]*","seq":\([0-9]*\),.*/\1/p' "$1"; }

# What DEST has and was copied all the same: it is equal and has another time, or it differs.
settle() {
    comm -12 $marks/new $marks/old | while read -r name; do
        file=$new/$name there=$old/$name
        if cmp -s "$file" "$there"; then
            rm -f "$file"
            continue
        fi
        case $name in
        chunks/* | checkpoint/*)
            # The one that is what its name says stays.
            if [ "$(digest_of "$there")" != "${file##*/}" ] && [ "$(digest_of "$file")" = "${file##*/}" ]; then
                mv -f "$file" "$there" || exit 1
            else
                rm -f "$file"
            fi
            ;;
        transactions/*)
            # One after the HEAD that DEST has is off the chain there, and may be replaced.
            behind=$(seq_of "$there")
            if [ "$before" != none ] && [ "${behind:-0}" -gt "$seq_before" ]; then
                printf '%s\n' "$name" >>"$marks/replaced"
            else
                : >"$marks/differs"
            fi
            ;;
        *) : >"$marks/differs" ;;
        esac
    done
}

# The files on the shelves of a folder, sorted. (Not in a loop of the shell's, which reads pipes byte by byte.)
shelves() { (cd "$1" 2>/dev/null && find chunks aliases transactions checkpoint -type f 2>/dev/null | sort); }

# Walks from the new HEAD to the old one, or to the root: the chunks that are named on the way; at last where it ended.
walk() {
    awk -v id="$head" -v stop="$before" -v known="$seq_before" -v root=$root -v new="$new" -v old="$old" '
        BEGIN {
            while (id != root && id != stop) {
                file = "/transactions/" substr(id, 1, 2) "/" id ".json"
                if ((getline line < (new file)) > 0) close(new file)
                else if ((getline line < (old file)) > 0) close(old file)
                else { print "lost transaction " id; exit }
                if (substr(line, 1, 51) != "{\"id\":\"" id "\",\"seq\":") { print "lost transaction " id; exit }
                line = substr(line, 52)
                seq = line + 0
                if (after && seq != after - 1 || seq < 1) { print "lost order at " id; exit }
                after = seq
                sub(/^[0-9]*,"parent":"/, "", line)
                id = substr(line, 1, 36)
                sub(/^[^[]*\[/, "", line)
                gsub(/[]"}]/, "", line)
                count = split(line, named, ",")
                for (n = 1; n <= count; n++) {
                    chunk = named[n]
                    if (length(chunk) == 36) {
                        file = "/aliases/" substr(chunk, 1, 2) "/" chunk
                        if ((getline digest < (new file)) > 0) close(new file)
                        else if ((getline digest < (old file)) > 0) close(old file)
                        else { print "lost alias " chunk; exit }
                        chunk = digest
                    }
                    print "chunks/" substr(chunk, 1, 2) "/" chunk
                }
            }
            if (after && after != (id == root ? 0 : known) + 1) { print "lost order at " id; exit }
            print "end " id
        }'
}

# Looks at one user, and gets everything ready but what makes it visible. Sets how it is to be done.
ready() {
    new=$work/new/$user old=users/$user marks=$work/marks how=
    before=none seq_before=0
    [ ! -e "$old/HEAD" ] || read -r before <"$old/HEAD"
    checkpoint=$work/new/.checkpoint/$user
    if [ -e "$checkpoint" ] && ! cmp -s "$checkpoint" "$old/CHECKPOINT"; then
        mkdir -p "$new" && mv -fT "$checkpoint" "$new/CHECKPOINT" || exit 1
    fi
    # Nothing new: by far the most usual.
    [ "$head" != "$before" ] || [ -e "$new" ] || return 0
    rm -rf $marks && mkdir -p $marks "$new" || exit 1
    if [ "$before" != none ] && [ "$before" != $root ]; then
        seq_before=$(seq_of "$old/transactions/${before%"${before#??}"}/$before.json" 2>/dev/null)
        [ -n "$seq_before" ] || before=none seq_before=0
    fi
    shelves "$new" >$marks/new
    shelves "$old" >$marks/old
    settle || exit 1
    walk >$marks/walk || exit 1
    lost=$(sed -n 's/^lost //p' $marks/walk)
    end=$(sed -n 's/^end //p' $marks/walk)
    sort -m -u $marks/new $marks/old >$marks/here
    [ -n "$lost" ] || lost=$(grep '^chunks/' $marks/walk | sort -u | comm -23 - $marks/here | head -n 1)
    if [ -n "$lost" ] || [ -z "$end" ]; then
        echo "bad $user ${lost:-the chain} is missing or damaged in DATA"
        return 0
    fi
    # A log whose line for HEAD is not HEAD's is no use: whoever needs one rebuilds it.
    seq=0
    if [ "$head" != $root ]; then
        file=transactions/${head%"${head#??}"}/$head.json
        [ -e "$new/$file" ] && seq=$(seq_of "$new/$file") || seq=$(seq_of "$old/$file")
        line=$(printf '%012d %s' "$seq" "$head")
        [ ! -e "$new/log" ] || [ "$(tail -c +$((50 * seq - 49)) "$new/log" | head -c 49)" = "$line" ] || rm -f "$new/log"
    fi
    printf '%s\n' "$head" >"$work/heads/$user" || exit 1
    if [ ! -e "$old" ]; then
        how=whole
        mv -fT "$work/heads/$user" "$new/HEAD" || exit 1
    elif [ "$end" = "$before" ] && [ ! -e $marks/differs ]; then
        how=more
        [ ! -e $marks/replaced ] || while read -r file; do mv -fT "$new/$file" "$old/$file" || exit 1; done <$marks/replaced
        for part in chunks aliases transactions checkpoint; do
            [ ! -d "$new/$part" ] || cp -r $keep $link "$new/$part" "$old/" || exit 1
        done
    else
        # Another life of that name, or another past: what stays equal has its second name in both, and the new one
        # comes into the place of the old as a whole.
        how=swap
        [ "$before" = none ] || echo "anew $user"
        swap=$work/swap/$user
        rm -rf "$swap" && cp -r $keep $link "$old" "$swap" && rm -f "$swap/log" "$swap/HEAD" &&
            cp -r $keep $link --remove-destination "$new/." "$swap/" && mv -fT "$work/heads/$user" "$swap/HEAD" || exit 1
    fi
    printf '%s %s\n' "$how" "$user" >>$work/ready
}

# Installs what was laid aside for the users in the list, once it is proved to be complete; says of whom it is not, and
# who is another than before.
install() {
    mkdir -p $work/heads $work/swap $work/old || exit 1
    [ -z "$(ls -A $work/new)" ] || sync -f . || exit 1
    # Kept by copies of directories where root makes them.
    keep=${OWNER:+--preserve=ownership}
    own $work/new $work/heads $work/swap $work/old || exit 1
    link=-l
    : >$work/probe && ln $work/probe $work/probe.2 2>/dev/null || link=-p
    rm -f $work/probe $work/probe.2
    : >$work/ready
    while read -r user head; do ready; done <$work/list
    [ -s $work/ready ] || return 0
    own $work/new $work/heads $work/swap || exit 1
    sync -f . || exit 1
    while read -r how user; do
        old=users/$user
        case $how in
        whole) mv -T "$work/new/$user" "$old" || exit 1 ;;
        more)
            for file in log name; do
                [ ! -e "$work/new/$user/$file" ] || mv -fT "$work/new/$user/$file" "$old/$file" || exit 1
            done
            ;;
        swap)
            mv --exchange -T "$work/swap/$user" "$old" 2>/dev/null ||
                { mv -T "$old" "$work/old/$user" && mv -T "$work/swap/$user" "$old"; } || exit 1
            ;;
        esac
    done <$work/ready
    # The bytes of all these are durable. Whichever of the two names a power cut leaves behind: log is derived from HEAD.
    while read -r how user; do
        [ $how = more ] || continue
        mv -fT "$work/heads/$user" "users/$user/HEAD" || exit 1
        # What it stands on is on the chain by now.
        [ ! -e "$work/new/$user/CHECKPOINT" ] || mv -fT "$work/new/$user/CHECKPOINT" "users/$user/CHECKPOINT" || exit 1
    done <$work/ready
    sync -f . || exit 1
    while read -r how user; do rm -rf "$work/new/$user" "$work/swap/$user" "$work/old/$user"; done <$work/ready
}

# Has every user frozen here who is so in DATA, and no other. Of one who is elsewhere there may be no more than the word.
freeze() {
    changed=
    while read -r user state; do
        is=-
        [ ! -e "users/$user/frozen" ] || read -r is <"users/$user/frozen"
        [ "$is" != "$state" ] || continue
        changed=yes
        if [ "$state" = - ]; then
            rm -f "users/$user/frozen" || return 1
        elif [ -d "users/$user" ]; then
            echo "$state" >$work/word && own $work/word && mv -fT $work/word "users/$user/frozen" || return 1
        elif [ "$state" = gone ] || [ "$state" = incoming ]; then
            rm -rf $work/only && mkdir $work/only && echo "$state" >$work/only/frozen && own $work/only &&
                mv -T $work/only "users/$user" || return 1
        fi
    done <$work/states
    [ -z "$changed" ] || sync -f .
}

# The end: from now on DEST is a store.
finish() {
    if ! [ -e FORMAT ]; then
        echo "mentat-sync 1" >$work/FORMAT && own $work/FORMAT && sync -f . && mv -T $work/FORMAT FORMAT && sync -f . || return 1
    fi
    rm -rf $work
}

command -v rsync >/dev/null || { echo lacking; exit 1; }
if ! [ -d "$DIR" ]; then
    mkdir -p "$DIR" && { [ -z "$OWNER" ] || chown "$OWNER" "$DIR"; } || exit 1
fi
exec 9<"$DIR" && cd "$DIR" || exit 1
# One that was killed may still come to the end of what it was at.
if command -v flock >/dev/null && ! flock -w 5 9; then
    echo taken
    exit 1
fi
while read -r what; do
    case $what in
    prepare) (prepare </dev/null) ;;
    install) (sort_out) && (install </dev/null) && (freeze) ;;
    finish) (finish </dev/null) ;;
    esac
    echo "end $?"
done

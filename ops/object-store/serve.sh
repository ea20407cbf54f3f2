#!/bin/bash
# An object store for one host: a monitor, one OSD and a gateway of Ceph, all of them here, their data in one folder.
#
# Its users come from secrets: "fstore-owner", whose the bucket is, and one for each role (ops/s3/set_up.py says what they
# may do). It has one copy of everything, on one disk: what is lost with that is computed again. The gateway alone can be
# reached from elsewhere, and it listens once the users are there.
set -euo pipefail

DATA=${OBJECT_STORE_DATA:-/var/lib/object-store}
SECRETS=${OBJECT_STORE_SECRETS:-/run/secrets}
LISTEN=${OBJECT_STORE_LISTEN:-0.0.0.0:7480}
MON_PORT=${OBJECT_STORE_MON_PORT:-6789}
export CEPH_CONF=$DATA/ceph.conf

# Ids that stay, one file each, whole or not there.
id_of() {
  [ -s "$DATA/$1" ] || { cat /proc/sys/kernel/random/uuid > "$DATA/$1.part" && mv "$DATA/$1.part" "$DATA/$1"; }
  cat "$DATA/$1"
}

mkdir -p "$DATA/mon" "$DATA/osd"
fsid=$(id_of fsid) osd=$(id_of osd.id)
cat > "$CEPH_CONF" <<CONF
[global]
fsid = $fsid
mon host = v2:127.0.0.1:$MON_PORT/0
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
ms mon cluster mode = crc
ms mon service mode = crc
ms mon client mode = crc
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = $DATA
admin socket = /tmp/\$name.\$pid.asok
log to file = false
log to stderr = true
err to stderr = true
mon cluster log to file = false
keyring = /dev/null
mon data = $DATA/mon
mon allow pool size one = true
osd data = $DATA/osd
osd objectstore = bluestore
bluestore block create = true
bluestore block size = ${OBJECT_STORE_BYTES:-100G}
osd memory target = 1073741824
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw frontends = beast endpoint=$LISTEN
rgw thread pool size = 64
debug rgw = 0
rgw enable usage log = false
CONF

# Each is made once; what was begun and not finished is made anew.
make_once() {
  local what=$1
  shift
  [ -e "$DATA/$what.made" ] && return
  find "$DATA/$what" -mindepth 1 -delete
  "$@"
  touch "$DATA/$what.made"
}
make_mon() {
  monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$MON_PORT]" /tmp/monmap."$$"
  ceph-mon --mkfs -i a --monmap /tmp/monmap."$$"
  rm -f /tmp/monmap."$$"
}
make_osd() {
  ceph --connect-timeout 60 osd new "$osd"
  ceph-osd --mkfs -i 0 --osd-uuid "$osd"
}

# Whatever ends, all end, so that whoever watches this process starts them anew together.
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
trap 'exit 0' TERM INT

make_once mon make_mon
ceph-mon -f -i a &
make_once osd make_osd
ceph-osd -f -i 0 &
for role in owner trainer worker upkeep; do
  key=$(cat "$SECRETS/s3_${role}_key_id") secret=$(cat "$SECRETS/s3_${role}_secret")
  buckets=$([ "$role" = owner ] && echo 0 || echo -1) # the owner alone makes some
  user=(--uid "fstore-$role" --max-buckets "$buckets" --access-key "$key" --secret "$secret")
  radosgw-admin -n client.rgw user create --display-name "fstore's $role" "${user[@]}" > /dev/null 2>&1 ||
    radosgw-admin -n client.rgw user modify "${user[@]}" > /dev/null
done
radosgw -f -n client.rgw &
wait -n
echo "a part of the object store ended" >&2
exit 1

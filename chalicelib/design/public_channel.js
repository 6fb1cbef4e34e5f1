function (newDoc, oldDoc, userCtx, secObj) {
  // The rule of a public channel's database: everyone may read it, its members alone may write.
  // Who they are stands in the security object, which only the cloud writes. On a device, where
  // this document comes by replication, there is none, and the device's own rules hold.
  var writers = secObj && secObj.syncpoint && secObj.syncpoint.roles;
  if (!writers || userCtx.roles.indexOf('_admin') !== -1) return;
  for (var i = 0; i < userCtx.roles.length; i++) {
    if (writers.indexOf(userCtx.roles[i]) !== -1) return;
  }
  throw({ forbidden: 'this channel is public: everyone may read it, only its members may write' });
}

/* The first program of the machine that `streams` compares with: what `cat` would do with a file and a vsock connection.
 *
 * Makes a file of as many MiB as the variable `mib` says, then connects to the host's port 1024 again and again. The host's
 * first byte says what to do: 'o' sends the file, 'i' writes what comes to another one, anything else ends the machine. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static char block[64 << 10];

/* To the end of `from`; whether all of it was taken. */
static int copy(int from, int to) {
  ssize_t count;
  while ((count = read(from, block, sizeof block)) > 0)
    for (ssize_t done = 0, part; done < count; done += part)
      if ((part = write(to, block + done, count - done)) <= 0)
        return 0;
  return count == 0;
}

int main(void) {
  const char *mib = getenv("mib");
  const struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = 1024};
  int file = open("/copied", O_CREAT | O_RDWR, 0600);
  memset(block, 'x', sizeof block);
  for (long left = mib ? atol(mib) << 4 : 0; left > 0; left--)
    if (write(file, block, sizeof block) != sizeof block)
      reboot(RB_AUTOBOOT);
  for (;;) {
    char what = 0;
    int connection = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (connect(connection, (const struct sockaddr *)&host, sizeof host) || read(connection, &what, 1) != 1)
      break;
    if (what == 'o') {
      lseek(file, 0, SEEK_SET);
      copy(file, connection);
    } else if (what == 'i') {
      int taken = open("/taken", O_CREAT | O_WRONLY | O_TRUNC, 0600);
      if (copy(connection, taken))
        write(connection, "", 1);
      close(taken);
    } else {
      break;
    }
    close(connection);
  }
  reboot(RB_AUTOBOOT);
}

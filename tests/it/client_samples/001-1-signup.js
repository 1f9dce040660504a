const data = JSON.stringify({
  firstName: 'Evgeny',
  lastName: 'Smirnov',
  login: 'nodewalker',
  email: 'nodewalker@yandex.com',
  password: '**********',
});

const xhr = new XMLHttpRequest();
xhr.withCredentials = true;

xhr.addEventListener('readystatechange', function () {
  if (this.readyState === this.DONE) {
    console.log(this.responseText);
  }
});

xhr.open('POST', 'https://example.com/auth/signup');
xhr.setRequestHeader('Content-Type', 'application/json');
xhr.setRequestHeader('Accept', 'application/json');

xhr.send(data);
